package ladder

// FilterName is the filter of one rung, and FilterLoads says why one cannot be had.
const FilterName = filterName

var FilterLoads = filterLoads
