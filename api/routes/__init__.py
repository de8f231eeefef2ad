"""The addresses of the service, a router a file."""
