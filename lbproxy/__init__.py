"""The bundled TCP balancer: one small process that imports nothing of the station."""
