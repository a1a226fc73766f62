package spool

import "time"

// Frame is what is appended and read back: one body and what is known of it.
type Frame struct {
	Seq      uint64    // given by Append; unique for ever within one spool
	Key      string    // opaque to the spool, at most 1 KiB
	Lines    int       // lines in Body
	RawBytes int64     // inflated size of Body
	Received time.Time // given by Append when zero
	Body     []byte    // gzip, one or more members
}
