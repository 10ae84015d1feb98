# A gateway with this connector; every setting that is not here has its default.
server "units" {
  tenant    = "demo"
  connector = "./units"
  args      = ["-state", "counts.json"]
}
