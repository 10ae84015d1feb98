package canon_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatewright/gatewright/merkle/canon"
)

func TestNumbersThatADoubleWouldChangeAreRefused(t *testing.T) {
	for _, n := range []string{
		"9007199254740992", "-9007199254740992", "9007199254740993", "9007199254740992.0", "9007199254740992e0", "9.007199254740992e15",
		"9007199254740994", "10000000000000000", "12345678901234567", "18446744073709551615", "18446744073709551616",
		"100000000000000000000", "1e16", "1e20", "123456789e12", "1000000000000000000000", "1" + strings.Repeat("0", 308),
		"1e400", "-1e400", "1e309", "1.7976931348623159e308", "1.8e308", "1e99999999999999999999", "17976931348623157e293",
		"1e-400", "4e-324", "2e-324", "4.94e-324", "1e-99999999999999999999", "2.2250738585072011e-308",
		"0.10000000000000001", "0.1000000000000000055511151231257827", "333333333.33333329", "1.00000000000000001",
		"1.0000000000000000000000000000000000000001", "0." + strings.Repeat("1", 300), strings.Repeat("9", 1000), strings.Repeat("9", 100_000),
		"0." + strings.Repeat("0", 400) + "1", "1." + strings.Repeat("0", 400), "0e" + strings.Repeat("0", 400),
		"123456789012345678e-18", "4503599627370497.25", "9007199254740990.5",
	} {
		refused(t, n, canon.KindNumber)
		refused(t, `{"a":[`+n+`]}`, canon.KindNumber)
		refused(t, "-"+strings.TrimPrefix(n, "-"), canon.KindNumber)
	}
}

func TestNumbersThatADoubleKeepsPassInAnySpelling(t *testing.T) {
	for n, want := range map[string]string{
		"0": "0", "-0": "0", "0.0": "0", "-0.000": "0", "0e400": "0", "0E-99999999999": "0", "0.0e5": "0",
		"1": "1", "1.0": "1", "1e0": "1", "10e-1": "1", "100E-2": "1", "0.1e1": "1", "0.001e+3": "1", "1.000000000000000000000000": "1",
		"-12": "-12", "1e2": "100", "1E+2": "100", "4.50": "4.5", "2e-3": "0.002", "0.1": "0.1",
		"999999999999999": "999999999999999", "1000000000000000": "1000000000000000", "1e15": "1000000000000000",
		"9007199254740991": "9007199254740991", "-9007199254740991": "-9007199254740991", "9007199254740991.0": "9007199254740991",
		"90071992547409910e-1": "9007199254740991", "9.007199254740991e15": "9007199254740991", "4503599627370495.5": "4503599627370495.5",
		"1e21": "1e+21", "1E22": "1e+22", "123e45": "1.23e+47", "123e65": "1.23e+67", "1e308": "1e+308", "1.7976931348623157e308": "1.7976931348623157e+308",
		"5e-324": "5e-324", "2.2250738585072014e-308": "2.2250738585072014e-308", "1e-307": "1e-307", "1e-308": "1e-308", "1e-320": "1e-320",
		"0." + strings.Repeat("0", 323) + "5": "5e-324", "333333333.3333333": "333333333.3333333", "0.30000000000000004": "0.30000000000000004",
		"5e-7": "5e-7", "0.000001": "0.000001", "1234.5678e-2": "12.345678", "1" + strings.Repeat("0", 300) + ".0": "1e+300",
	} {
		got, err := canon.AppendCanonical(nil, []byte(n), canon.DefaultLimits())
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", n, got, err, want)
		}
		again, err := canon.AppendCanonical(nil, got, canon.DefaultLimits())
		if err != nil || string(again) != want {
			t.Errorf("%s: its form %s becomes %s, %v", n, got, again, err)
		}
	}
}

// passes decides with exact rational arithmetic what number.go states.
func passes(text string) bool {
	exact, ok := new(big.Rat).SetString(text)
	f, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || !json.Valid([]byte(text)) {
		return false
	}
	short, ok := new(big.Rat).SetString(strconv.FormatFloat(f, 'e', -1, 64))
	if !ok || exact.Cmp(short) != 0 {
		return false
	}
	safe := math.Abs(f) <= 1<<53-1
	return safe || math.Abs(f) >= 1e21 && strings.ContainsAny(text, ".eE")
}

func TestTheNumberRuleAgreesWithExactArithmetic(t *testing.T) {
	digits := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?`)
	near := rapid.Custom(func(t *rapid.T) string {
		f := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			f = 1
		}
		prec := rapid.IntRange(-1, 20).Draw(t, "digits")
		return strconv.FormatFloat(f, 'e', prec, 64)
	})
	round := rapid.Custom(func(t *rapid.T) string {
		n := rapid.Int64Range(-1<<55, 1<<55).Draw(t, "n")
		return fmt.Sprintf("%d%s", n, rapid.SampledFrom([]string{"", ".0", ".5", "e0", "00", "e1", "e-1", ".25", "e6"}).Draw(t, "tail"))
	})
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(digits, near, round).Draw(t, "number")
		err := canon.Check([]byte(text), canon.DefaultLimits())
		if got, want := err == nil, passes(text); got != want {
			t.Fatalf("%s: %v, exact arithmetic says %v", text, err, want)
		}
	})
}
