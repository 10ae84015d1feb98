package upstream

// Permitted is the judgement of the dial guard.
var Permitted = permitted
