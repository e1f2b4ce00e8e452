"""Every file looked at once, in full: what can be used, what is there twice, what gives labels away.

inspected   the table that the look leaves behind
"""
