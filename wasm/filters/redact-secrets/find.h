// What a secret looks like. find_secrets looks at one decoded text and reports what is to be replaced.
#pragma once
#include "gw.h"

// The kinds, in the order in which labels are written. NAMES has them as they stand in labels and replacements.
enum kind {
    PRIVATE_KEY, AWS, GITHUB, GITLAB, SLACK, STRIPE, OPENAI, ANTHROPIC, GOOGLE, GATEWRIGHT, JWT, BEARER, CARD, PASSWORD, KINDS,
};

// report is told of each secret: the text from `from` to `to` (offsets) is of that kind. Reports may overlap and come in
// any order. It returns false when no more are wanted.
int report(enum kind kind, u32 from, u32 to);

// secret_name reports whether a JSON member of that name holds a secret. 16 bytes before it must be readable, as for
// find_secrets.
int secret_name(const u8 *name, u32 n);

// stand_in reports whether a member's text of n bytes only stands for a secret, as ${PASSWORD} and <password> do. n is not 0.
int stand_in(const u8 *text, u32 n);

// card_value reports whether the JSON number without a sign from p to `to` is that of a card, however it is written.
int card_value(const u8 *p, const u8 *to);

// find_secrets looks through text of n bytes. Memory must be readable 16 bytes before it and 32 behind; what stands there
// does not matter, as long as the byte before is no letter or digit.
void find_secrets(const u8 *text, u32 n);
