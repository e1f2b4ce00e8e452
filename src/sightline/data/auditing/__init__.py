"""Every file looked at once, in full: what can be used, what is a copy, what gives labels away.

audit       the order of it all
inspected   the table that a look at each file leaves behind
inspecting  one file: its bytes, its header, its pixels, and what is measured of them
children    processes that do so and may crash or hang; process, child, answers: one of them
known       what earlier audits learned; shelf: the files that keep it
changed     which images are no longer what was looked at
copies      pictures that are there twice, and nearly twice
checks      what all of it says, one finding a check

Nothing is imported here: a child process loads `inspecting` alone, and starts twice as fast.
"""
