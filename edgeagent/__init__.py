"""The agent on a device: stores what the cluster wants and runs it, with or without a link."""

VERSION = "0.1.0"
