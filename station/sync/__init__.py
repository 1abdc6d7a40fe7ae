"""One run from upstream or a peer to the storage, in a child process, and the schedule that starts it."""
