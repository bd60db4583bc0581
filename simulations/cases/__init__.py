"""Cases: how fleets of each kind of server, and those with clients who retry, are simulated."""
