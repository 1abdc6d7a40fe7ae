"""The only package that writes below the storage path, and the ledger of the registry."""
