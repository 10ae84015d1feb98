# The server that ArmorIQ's end-to-end suite calls, and the policies it expects: the default bundle with e2e.cedar beside
# it. BUNDLE and E2ESERVER stand for their paths.
policies {
  bundle = "BUNDLE"
}

server "e2e" {
  tenant  = "demo"
  command = ["E2ESERVER"]
}
