package main

import "github.com/spf13/cobra"

func sendCommand() *cobra.Command   { return &cobra.Command{Use: "send"} }
func listenCommand() *cobra.Command { return &cobra.Command{Use: "listen"} }
