package wal_test

const crashDir = "GATEWRIGHT_TEST_CRASH_DIR"

func crashChild(dir string) {}
