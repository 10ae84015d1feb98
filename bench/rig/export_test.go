package rig

// Family and CPUOf are what Usage is made of.
var (
	Family = family
	CPUOf  = cpuOf
)
