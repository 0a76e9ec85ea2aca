"""What outlives the process: the stores of the agent, and their one file."""

FILE = "agent.db"
"""Named here for who reads it without the database's library."""
