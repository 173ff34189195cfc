"""Where student code runs: the walls, the fork server, the worker inside, the wire, and the handle on our side."""
