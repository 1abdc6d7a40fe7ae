"""The data plane: files, proxy and peers workers on bare sockets."""
