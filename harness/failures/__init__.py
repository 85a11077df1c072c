"""From failure to data: what failed, in groups, and a worklist for the next round."""
