"""The control process: registry owner, admin API, instance API, what the workers are told."""
