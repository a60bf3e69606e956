"""What airspeed velocity runs at each commit (see ../asv.conf.json)."""
