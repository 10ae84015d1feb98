package demo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// maxNesting bounds parentheses, signs and powers, so that the recursive
// parser cannot be driven deep by a long expression.
const maxNesting = 40

type formula struct {
	Expression string `json:"expression"`
}

type number struct {
	Value float64 `json:"value"`
}

func calculator() []tool {
	return []tool{
		describe("calculate", "Calculate",
			"Evaluate an arithmetic expression: numbers, + - * / % ^, parentheses and the functions abs, sqrt, round, floor, ceil.",
			effect{readOnly: true, idempotent: true}, `{"type":"object","required":["expression"],"additionalProperties":false,"properties":{
			"expression":{"type":"string","minLength":1,"maxLength":500,"description":"For example (2+3)*4^2"}}}`,
			`{"type":"object","required":["value"],"additionalProperties":false,"properties":{"value":{"type":"number"}}}`,
			func(_ context.Context, in formula) (number, error) {
				v, err := evaluate(in.Expression)
				return number{v}, err
			}),
	}
}

// evaluate parses and computes in one pass:
//
//	sum    = product { ("+" | "-") product }
//	product = power { ("*" | "/" | "%") power }
//	power  = unary [ "^" power ]
//	unary  = "-" unary | number | name "(" sum ")" | "(" sum ")"
func evaluate(text string) (float64, error) {
	p := &parser{text: text}
	v, err := p.sum()
	if err != nil {
		return 0, err
	}
	if p.peek() != 0 {
		return 0, p.fail("expected an operator or the end")
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, errors.New("the result is not a finite number")
	}
	return v, nil
}

type parser struct {
	text  string
	at    int
	depth int
}

func (p *parser) fail(msg string) error { return fmt.Errorf("column %d: %s", p.at+1, msg) }

// peek returns the next byte that is not a space, or 0 at the end.
func (p *parser) peek() byte {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *parser) sum() (float64, error) {
	return p.chain(p.product, func(op byte, a, b float64) (float64, bool) {
		switch op {
		case '+':
			return a + b, true
		case '-':
			return a - b, true
		}
		return 0, false
	})
}

func (p *parser) product() (float64, error) {
	return p.chain(p.power, func(op byte, a, b float64) (float64, bool) {
		switch op {
		case '*':
			return a * b, true
		case '/':
			return a / b, true
		case '%':
			return math.Mod(a, b), true
		}
		return 0, false
	})
}

// chain parses a left-associative row of terms. apply reports false for a byte
// that is not one of its operators.
func (p *parser) chain(term func() (float64, error), apply func(op byte, a, b float64) (float64, bool)) (float64, error) {
	v, err := term()
	for err == nil {
		op := p.peek()
		if _, ok := apply(op, 1, 1); !ok {
			return v, nil
		}
		p.at++
		var next float64
		if next, err = term(); err == nil {
			v, _ = apply(op, v, next)
		}
	}
	return 0, err
}

func (p *parser) power() (float64, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxNesting {
		return 0, p.fail("nested too deeply")
	}
	base, err := p.unary()
	if err != nil || p.peek() != '^' {
		return base, err
	}
	p.at++
	exponent, err := p.power()
	return math.Pow(base, exponent), err
}

func (p *parser) unary() (float64, error) {
	switch c := p.peek(); {
	case c == '-':
		p.at++
		v, err := p.power()
		return -v, err
	case c == '(':
		return p.group()
	case c >= 'a' && c <= 'z':
		return p.call()
	case c >= '0' && c <= '9' || c == '.':
		return p.number()
	default:
		return 0, p.fail("expected a number")
	}
}

func (p *parser) group() (float64, error) {
	if p.peek() != '(' {
		return 0, p.fail("expected (")
	}
	p.at++
	v, err := p.sum()
	if err != nil {
		return 0, err
	}
	if p.peek() != ')' {
		return 0, p.fail("expected )")
	}
	p.at++
	return v, nil
}

var functions = map[string]func(float64) float64{
	"abs": math.Abs, "sqrt": math.Sqrt, "round": math.Round, "floor": math.Floor, "ceil": math.Ceil,
}

func (p *parser) call() (float64, error) {
	start := p.at
	for p.at < len(p.text) && p.text[p.at] >= 'a' && p.text[p.at] <= 'z' {
		p.at++
	}
	f, ok := functions[p.text[start:p.at]]
	if !ok {
		p.at = start
		return 0, p.fail("unknown function")
	}
	v, err := p.group()
	return f(v), err
}

func (p *parser) number() (float64, error) {
	start := p.at
	for p.at < len(p.text) && (p.text[p.at] >= '0' && p.text[p.at] <= '9' || p.text[p.at] == '.') {
		p.at++
	}
	v, err := strconv.ParseFloat(p.text[start:p.at], 64)
	if err != nil {
		p.at = start
		return 0, p.fail("not a number")
	}
	return v, nil
}
