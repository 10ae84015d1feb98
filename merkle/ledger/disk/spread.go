package disk

// Spreader is a file system that can be told that a folder's folders have nothing to do with one another.
type Spreader interface {
	// Spread makes the folder if it is missing, and gives the hint.
	Spread(dir string) error
}

// Spread asks for the folders in a folder to be laid out apart from one another and from their surroundings, and makes it
// if it is missing. It is a hint that changes nothing but speed, so where it is not understood there is no error.
//
// What it is for: ext4 puts the files of neighbouring folders into one table of inodes. Without a journal it looks, for
// each file that it makes there, at all that were deleted in that table during the last minutes, whoever deleted them; a
// ledger makes two files for 256 records, beside whatever else lives on the disk.
func Spread(on FS, dir string) error {
	if s, ok := on.(Spreader); ok {
		return s.Spread(dir)
	}
	return nil
}
