# cmake -DSOURCE=DIR -DOUT=FILE -P MongeNumerics.cmake: writes a header with a checksum of the sources that can change a
# number of a training run. What prints, locks and keeps files is left out: a change there repeats no comparison.
file(GLOB_RECURSE sources RELATIVE ${SOURCE} ${SOURCE}/core/*.* ${SOURCE}/autograd/*.* ${SOURCE}/nn/*.*
     ${SOURCE}/optim/*.* ${SOURCE}/train/*.*)
list(FILTER sources EXCLUDE REGEX "^(core/profile|train/(console|folder|checkpoint))/|CMakeLists.txt$")
list(SORT sources)
set(all "")
foreach(source ${sources})
  file(SHA256 ${SOURCE}/${source} sum)
  string(APPEND all "${source} ${sum}\n")
endforeach()
string(SHA256 sum "${all}")
string(SUBSTRING ${sum} 0 16 sum)
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define MONGE_NUMERICS \"${sum}\"\n")
