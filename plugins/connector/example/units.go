package main

import "slices"

// unit is one unit of measure: a value in it is factor*value + offset in the
// quantity's base unit.
type unit struct {
	quantity       string
	factor, offset float64
}

// to converts a value in u to a value in v.
func (u unit) to(v unit, value float64) float64 {
	return (value*u.factor + u.offset - v.offset) / v.factor
}

var units = map[string]unit{
	"mm": {quantity: "length", factor: 0.001},
	"cm": {quantity: "length", factor: 0.01},
	"m":  {quantity: "length", factor: 1},
	"km": {quantity: "length", factor: 1000},
	"in": {quantity: "length", factor: 0.0254},
	"ft": {quantity: "length", factor: 0.3048},
	"yd": {quantity: "length", factor: 0.9144},
	"mi": {quantity: "length", factor: 1609.344},

	"g":  {quantity: "mass", factor: 0.001},
	"kg": {quantity: "mass", factor: 1},
	"t":  {quantity: "mass", factor: 1000},
	"oz": {quantity: "mass", factor: 0.028349523125},
	"lb": {quantity: "mass", factor: 0.45359237},

	"s":   {quantity: "time", factor: 1},
	"min": {quantity: "time", factor: 60},
	"h":   {quantity: "time", factor: 3600},
	"d":   {quantity: "time", factor: 86400},

	"K":  {quantity: "temperature", factor: 1},
	"°C": {quantity: "temperature", factor: 1, offset: 273.15},
	"°F": {quantity: "temperature", factor: 5.0 / 9, offset: 459.67 * 5 / 9},
}

// byQuantity returns the names of the units, sorted.
func byQuantity() map[string][]string {
	all := map[string][]string{}
	for name, u := range units {
		all[u.quantity] = append(all[u.quantity], name)
	}
	for _, names := range all {
		slices.Sort(names)
	}
	return all
}
