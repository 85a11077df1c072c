"""`harness check`: what data, template and training of a recipe come to, before all spending."""
