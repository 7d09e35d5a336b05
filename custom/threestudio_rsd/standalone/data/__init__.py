"""Data modules, as in threestudio's `data` folder; importing `uncond` registers random cameras."""
