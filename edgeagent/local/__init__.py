"""What the device tells about itself without any network: status, pods, logs."""
