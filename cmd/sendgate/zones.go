package main

import _ "time/tzdata" // conditions and quiet hours name time zones; a container without a zone database must read them, too
