// Card numbers.
#include "scan.h"

// luhn checks the last digit of the number from p to `to`, whatever stands between its digits.
RARE static int luhn(const u8 *p, const u8 *to) {
    u32 sum = 0, odd = 0;
    while (to > p) {
        u32 v = *--to - '0';
        if (v > 9) continue;
        if (odd) v += v > 4 ? v - 9 : v;
        sum += v;
        odd ^= 1;
    }
    return sum % 10 == 0;
}

// issued reports whether some issuer gives out cards with n digits that begin with the four at p.
RARE static int issued(const u8 *p, u32 n) {
    u32 two = (p[0] - '0') * 10 + p[1] - '0', fours = two * 100 + (p[2] - '0') * 10 + p[3] - '0';
    switch (n) {
    case 14: // Diners Club
        return two == 36 || two == 38 || (fours >= 3000 && fours < 3060);
    case 15: // American Express
        return two == 34 || two == 37;
    case 16: // Visa, Mastercard, Discover, JCB, UnionPay
        return *p == '4' || (two >= 51 && two <= 55) || (fours >= 2221 && fours <= 2720) || fours == 6011 || two == 65 ||
               (fours >= 6440 && fours < 6500) || (fours >= 3528 && fours <= 3589) || two == 62;
    case 19: // Visa, UnionPay
        return *p == '4' || two == 62;
    }
    return 0;
}

// number reports the card's number of n digits from p to `to`, if it is one.
RARE static void number(const u8 *p, const u8 *to, u32 n) {
    if ((to < end && token(*to)) || (end - to > 1 && *to == '.' && digit(to[1]))) return;
    if (issued(p, n) && luhn(p, to)) found(CARD, p, to);
}

int card_value(const u8 *p, const u8 *to) {
    u8 digits[20];
    u32 n = 0, whole = 0, point = 0, power = 0;
    for (; p < to && (digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            point = 1;
            continue;
        }
        if (!n && *p == '0') return 0; // below one; of what is written 0.4e16 nobody makes a card
        if (n < 19) digits[n] = *p;
        else if (*p != '0') return 0;
        if (n < 19) n++;
        whole += !point;
    }
    if (p < to && lower(*p) == 'e') {
        if (*++p == '+') p++;
        for (; p < to && digit(*p) && power < 100; p++) power = power * 10 + *p - '0';
        if (p < to) return 0; // a negative power
    }
    whole += power;
    if (whole < 14 || whole > 19) return 0;
    for (; n < whole; n++) digits[n] = '0';
    for (u32 i = whole; i < n; i++)
        if (digits[i] != '0') return 0;
    return issued(digits, whole) && luhn(digits, digits + whole);
}

// grouped looks for a number that is written in groups, as 4-4-4-4, 4-6-5 or 4-6-4.
RARE static void grouped(const u8 *p) {
    u8 by = p[4];
    if (!four(load4(p + 5))) return;
    if (p[9] == by) {
        if (end - p >= 19 && four(load4(p + 10)) && p[14] == by && four(load4(p + 15))) number(p, p + 19, 16);
    } else if (end - p >= 16 && digit(p[9]) && digit(p[10]) && p[11] == by && four(load4(p + 12))) {
        if (end - p > 16 && digit(p[16])) number(p, p + 17, 15);
        else number(p, p + 16, 14);
    }
}

// plain looks for a number without groups.
RARE static void plain(const u8 *p) {
    const u8 *to = p, *stop = end - p > 20 ? p + 20 : end;
    for (; to < stop; to += 4)
        if (!four(load4(to))) break;
    while (to < stop && digit(*to)) to++;
    if (to > stop) to = stop;
    number(p, to, (u32)(to - p));
}

// card looks at the number whose first four digits stand at p.
RARE static void card(const u8 *p) {
    u8 before = p > text ? p[-1] : ' ';
    if (*p < '2' || *p > '6' || end - p < 14 || token(before) || before == '.' || before == '/' || before == '+') return;
    if (p[4] == ' ' || p[4] == '-') grouped(p);
    else if (digit(p[4])) plain(p);
}

void cards(const u8 *p, u64 marks) {
    if (enough) return;
    for (; marks; marks &= marks - 1) card(p + first_of(marks));
}
