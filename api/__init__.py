"""Who asks: HTTP, command line and the trace viewer."""
