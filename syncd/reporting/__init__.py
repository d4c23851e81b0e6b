"""Answer how syncd is, for the command line and the status page alike. Reads the ledger, writes nothing."""
