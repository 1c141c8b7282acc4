package wire

// ClientGone tells an actor that a client's stream has ended: whatever is kept
// for PIDs of that address (followers, waiters) may go. It comes after the
// client's last message. It never travels: the gateway sends it to the actors
// that can be addressed.
type ClientGone struct{ Address string }
