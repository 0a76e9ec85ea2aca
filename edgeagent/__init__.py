"""The agent on a device: stores what the cluster wants and runs it, with or without a link."""

VERSION = "0.1.0"
KUBERNETES_VERSION = "1.34"
"""The kubelet whose behaviour this agent has, for those who ask by version."""
