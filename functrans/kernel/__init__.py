"""The kernel language: what a fused kernel computes, independent of any device."""
