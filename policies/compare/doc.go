// Package compare judges a change of policy before it ships: it puts the same questions to two engines, those that calls
// have asked (see RecordedAsk) or made-up ones (see Generate), and says whose answers would be others and because of which
// policies. What could not be asked again is counted with its reason: a report never covers less than it says.
package compare
