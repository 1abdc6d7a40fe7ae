"""Which revision goes live when, on all stations. Pure: the same contract as gossip."""
