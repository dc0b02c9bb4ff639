"""What goes onto a device, put together on a desk."""
