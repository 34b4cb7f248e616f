package main

func writePlots(dir string, results []*result) error { return nil }
