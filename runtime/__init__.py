"""Plans and their execution: session, compiler, executors, memory."""
