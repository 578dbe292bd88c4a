// Boost.JSON as a part of this program: Debian's archive is one piece that brings iostreams and
// locales, a third of a program that has to stay small; compiled here, only what is called is
// linked.
#include <boost/json/src.hpp>
