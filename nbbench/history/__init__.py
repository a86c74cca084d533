"""Series become change points, change points events with causes."""
