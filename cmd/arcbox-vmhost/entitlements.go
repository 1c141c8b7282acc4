package main

import _ "embed"

// entitlementsFlag prints them, for who signs an installed binary.
const entitlementsFlag = "--entitlements"

// entitlements are what this binary must be signed with on macOS, for codesign.
// Nothing else belongs there: an entitlement that Apple has to grant, such as
// com.apple.vm.networking, has a program that is signed for this Mac only killed
// as it begins.
//
//go:embed vmhost.entitlements
var entitlements []byte
