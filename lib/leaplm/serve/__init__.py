"""A trained classifier as a service: `leaplm serve ADAPTER`.

files      a file of lab 2, 3, 5, 8 or 16 -> something that predicts    batching   a bounded queue, small batches
app        the HTTP interface: limits, keys, errors, metrics, health      keys       who may ask, and how often
requests   from the body of a request to its texts, or what is wrong     small_app  an app around an endpoint of one's own
metrics    what Prometheus reads, and alerts.yml what it warns of        logs       JSON lines without personal data
run        from the command line to a port                               ray_app    the same app with several replicas
load       a client that measures it                                     simulated  the same, in time that jumps
"""
