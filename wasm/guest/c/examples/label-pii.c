// label-pii labels calls whose arguments or results hold e-mail addresses, IBANs, phone numbers or card numbers.
#include "../gatewright.h"

enum { EMAIL = 1, IBAN = 2, PHONE = 4, CARD = 8, ALL = 15 };

static int digit(gw_u8 c) { return c >= '0' && c <= '9'; }
static int upper(gw_u8 c) { return c >= 'A' && c <= 'Z'; }
static int letter(gw_u8 c) { return upper(c & ~32); }

// before and after return the byte beside a place, 0 at the ends of the text.
static gw_u8 before(gw_text t, gw_u32 at) { return at > 0 ? t.at[at - 1] : 0; }
static gw_u8 get(gw_text t, gw_u32 at) { return at < t.size ? t.at[at] : 0; }

// email looks at the '@' at `at`: something before it, and a domain whose last part has two letters or more.
static int email(gw_text t, gw_u32 at) {
    gw_u8 c = before(t, at);
    if (!gw_is_word(c) && c != '.' && c != '%' && c != '+' && c != '-') return 0;
    gw_u32 end = at + 1, dot = 0;
    for (; digit(c = get(t, end)) || letter(c) || c == '.' || c == '-'; end++) {}
    while (get(t, end - 1) == '.' || get(t, end - 1) == '-') end--;
    for (gw_u32 i = at + 2; i < end; i++)
        if (t.at[i] == '.') dot = i;
    if (!dot || end - dot < 3) return 0;
    for (gw_u32 i = dot + 1; i < end; i++)
        if (!letter(t.at[i])) return 0;
    return 1;
}

// iban looks at the two letters at `at`: two digits, 11 to 30 digits and capitals, a blank between any two, and the remainder
// of ISO 7064.
static int iban(gw_text t, gw_u32 at) {
    if (gw_is_word(before(t, at)) || !upper(get(t, at + 1)) || !digit(get(t, at + 2)) || !digit(get(t, at + 3))) return 0;
    gw_u32 rest = 0, n = 4;
    for (gw_u32 i = at + 4; n < 34; i++) {
        if (get(t, i) == ' ') i++;
        gw_u8 c = get(t, i);
        if (digit(c)) rest = (rest * 10 + c - '0') % 97;
        else if (upper(c)) rest = (rest * 100 + c - 'A' + 10) % 97;
        else return 0;
        if (++n < 15 || gw_is_word(get(t, i + 1))) continue;
        gw_u32 head = (t.at[at] - 'A' + 10) * 10000 + (t.at[at + 1] - 'A' + 10) * 100 + (t.at[at + 2] - '0') * 10 + t.at[at + 3] - '0';
        if ((rest * 1000000 + head) % 97 == 1) return 1;
    }
    return 0;
}

// phone looks at the '+' at `at`: 8 to 15 digits, with a mark or two between any.
static int phone(gw_text t, gw_u32 at) {
    if (gw_is_word(before(t, at)) || !digit(get(t, at + 1)) || get(t, at + 1) == '0') return 0;
    gw_u32 n = 0, marks = 0;
    for (gw_u32 i = at + 1; n <= 15; i++) {
        gw_u8 c = get(t, i);
        if (digit(c)) {
            n++;
            marks = 0;
        } else if ((c == ' ' || c == '-' || c == '.' || c == '(' || c == ')') && marks < 2) {
            marks++;
        } else {
            return n >= 8 && (marks || !gw_is_word(c));
        }
    }
    return 0;
}

static int luhn(const gw_u8 *digits, gw_u32 n) {
    gw_u32 sum = 0;
    for (gw_u32 i = 0; i < n; i++) {
        gw_u32 v = digits[n - 1 - i];
        if (i & 1) v = v > 4 ? 2 * v - 9 : 2 * v;
        sum += v;
    }
    return sum % 10 == 0;
}

// card looks at the digit at `at`: 13 to 19 of them, a blank or dash between any two, the last as ISO 7812 wants it.
static int card(gw_text t, gw_u32 at) {
    gw_u8 c = before(t, at), digits[19];
    if (gw_is_word(c) || c == '.' || c == '-' || c == '+') return 0;
    gw_u32 n = 0;
    for (gw_u32 i = at; n < 19; i++) {
        c = get(t, i);
        if (n && (c == ' ' || c == '-')) c = get(t, ++i);
        if (!digit(c)) return 0;
        digits[n++] = c - '0';
        if (n >= 13 && !gw_is_word(get(t, i + 1)) && luhn(digits, n)) return 1;
    }
    return 0;
}

// look returns what begins at `at`, or 0.
__attribute__((noinline)) static gw_u32 look(gw_text t, gw_u32 at, gw_u32 known) {
    gw_u8 c = t.at[at];
    if (c == '@') return !(known & EMAIL) && email(t, at) ? EMAIL : 0;
    if (c == '+') return !(known & PHONE) && phone(t, at) ? PHONE : 0;
    if (digit(c)) return !(known & CARD) && card(t, at) ? CARD : 0;
    return !(known & IBAN) && iban(t, at) ? IBAN : 0;
}

static void judge(const gw_context *c) {
    gw_u32 found = 0;
    gw_walk w = gw_walk_of(c->body);
    while (found != ALL && gw_next(&w))
        for (gw_u32 i = 0; i < w.text.size; i++) {
            gw_u8 b = w.text.at[i];
            if (b == '@' || b == '+' || (b >= '2' && b <= '6') || upper(b)) found |= look(w.text, i, found);
        }
    if (found & EMAIL) gw_add_label("pii:email");
    if (found & IBAN) gw_add_label("pii:iban");
    if (found & PHONE) gw_add_label("pii:phone");
    if (found & CARD) gw_add_label("pii:card");
}

GW_ON_REQUEST(judge)
GW_ON_RESPONSE(judge)
