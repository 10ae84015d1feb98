package git

// Unpack is unpack.
var Unpack = unpack
