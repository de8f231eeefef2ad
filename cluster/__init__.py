"""Where it runs: Ray Serve deployments, the Serve transport and archive jobs."""
