"""What stands between the network and the routes: middleware, keys, connections, bodies."""
