package rights

import (
	"os/user"
	"strconv"
)

// User is the user that a program runs as, and its group, if there is one of that
// name; else root.
func User(name string) (uid, gid int) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0
	}
	uid, err = strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err != nil || err2 != nil {
		return 0, 0
	}
	return uid, gid
}
