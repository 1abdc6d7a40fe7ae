"""Clock, tasks, frames, leash, logs, durable writes: knows no domain word."""
