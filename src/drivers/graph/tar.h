// Archives are read and written by base.
#pragma once

#include "base/tar.h"
