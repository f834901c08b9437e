//! The engine: swarm loop, in-process node, local API server, app host, metrics, configuration.
